"""edgeproof attribute: the report, and the commands that store its models and credits."""

from __future__ import annotations

from edgeproof import attribute, upkeep

app = attribute.app
app.command("fit")(upkeep.fit)
app.command("store")(upkeep.store)
app.command("recount")(upkeep.recount_totals)
