"""Options of `edgeproof attribute` that say which models are computed and what is analysed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.attribution.models import MODELS

ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help=f"One of {', '.join(MODELS)}, or one that an installed package offers. "
        "Repeatable. Default: these seven.",
        rich_help_panel="Models",
    ),
]
OrderOption = Annotated[
    str,
    typer.Option(
        "--order",
        metavar="1|2|3|auto",
        help="Channels that data_driven remembers; auto: what predicts held-out journeys best.",
        rich_help_panel="Models",
    ),
]
WithoutNullsOption = Annotated[
    bool,
    typer.Option(
        "--without-nulls",
        help="Fit data_driven on paths that converted only.",
        rich_help_panel="Models",
    ),
]
MinConversionsOption = Annotated[
    int,
    typer.Option(
        "--min-conversions",
        min=1,
        metavar="N",
        help="With fewer, data_driven gives every touch the same credit.",
        rich_help_panel="Models",
    ),
]
BootstrapOption = Annotated[
    int,
    typer.Option(
        "--bootstrap",
        min=0,
        metavar="N",
        help="With --paths: intervals of data_driven from N resamples, 20 or more.",
        rich_help_panel="Models",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed",
        min=0,
        metavar="N",
        help="Of what is drawn at random.",
        rich_help_panel="Models",
    ),
]
HalfLifeOption = Annotated[
    str,
    typer.Option(
        "--half-life",
        metavar="TIME",
        help="With --db: of time_decay.",
        rich_help_panel="Models",
    ),
]
LookbackOption = Annotated[
    str,
    typer.Option(
        "--lookback",
        metavar="TIME",
        help="With --db: touches older than this before the conversion do not count.",
        rich_help_panel="Models",
    ),
]
UShapeOption = Annotated[
    str,
    typer.Option(
        "--u-shape",
        metavar="F/M/L",
        help="Percent for the first touch, the middle ones, the last.",
        rich_help_panel="Models",
    ),
]
WShapeOption = Annotated[
    str,
    typer.Option(
        "--w-shape",
        metavar="F/L/O/R",
        help="Percent for the first touch, the lead, the opportunity, the rest.",
        rich_help_panel="Models",
    ),
]
LeadOption = Annotated[
    str,
    typer.Option(
        "--lead",
        metavar="EVENT",
        help="With --db: the event that marks w_shape's lead. Default: the middle touch.",
        rich_help_panel="Models",
    ),
]
OpportunityOption = Annotated[
    str,
    typer.Option(
        "--opportunity",
        metavar="EVENT",
        help="With --db: the event that marks its opportunity. Default: the last touch.",
        rich_help_panel="Models",
    ),
]
DirectOption = Annotated[
    str,
    typer.Option(
        "--direct",
        metavar="own|ignore",
        help="Direct traffic ('(direct)', 'Direct', 'direct / none') is a channel of its own, "
        "or ignored unless all touches are direct.",
        rich_help_panel="Models",
    ),
]
OwnEventOption = Annotated[
    bool,
    typer.Option(
        "--own-event",
        help="With --db: a conversion's own event is a touch of it.",
        rich_help_panel="Models",
    ),
]
WithShapleyOption = Annotated[
    bool,
    typer.Option(
        "--shapley",
        help="Shapley values of the channels of each journey beside the models: exact up to 12 "
        "channels, sampled beyond.",
        rich_help_panel="Analysis",
    ),
]
ByOption = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="day|week",
        help="With --db: the credit by the day or week (UTC) of the conversion.",
        rich_help_panel="Analysis",
    ),
]
CostsOption = Annotated[
    Path | None,
    typer.Option(
        "--costs",
        metavar="FILE.csv",
        help="Costs: channel, cost and, where known, period; gives CPA, ROAS and ROI.",
        rich_help_panel="Analysis",
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="FROM..TO|FILE",
        help="The period before, 2026-01-01..2026-02-01; with --paths its file. Shows what "
        "changed: volume, mix, credit.",
        rich_help_panel="Analysis",
    ),
]
HoldoutOption = Annotated[
    str | None,
    typer.Option(
        "--holdout",
        metavar="TIME|FILE",
        help="Check how each model predicts the conversions from this time on; with --paths, "
        "those of a later file.",
        rich_help_panel="Analysis",
    ),
]
ExportOption = Annotated[
    str,
    typer.Option(
        "--export",
        metavar="csv|parquet",
        help="Every table of the report as a file in the run's folder.",
        rich_help_panel="Analysis",
    ),
]
JobsOption = Annotated[
    int,
    typer.Option(
        "--jobs",
        min=1,
        max=64,
        metavar="N",
        help="With --db: processes; the figures stay the same. Do not write to it meanwhile.",
    ),
]
MostChannelsOption = Annotated[
    int | None,
    typer.Option(
        "--most-channels",
        min=1,
        metavar="N",
        help="Channels that data_driven tells apart; rarer ones are one, (other). Default: as many "
        "as it can.",
        rich_help_panel="Models",
    ),
]
