"""Access logs: their formats, their readers, and the scenario and trace that are made of them."""
