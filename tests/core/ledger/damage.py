"""Damage to stored credits that a recount has to find."""

TRIPLED = """UPDATE credits SET touches = json_set(touches, '$[3]', json('[1.5, 1.5]'))
WHERE conversion_id = 'c1'"""
"""Three times the linear credits of c1, which has two touches."""
