"""Who made a model file: a signature beside it, and the rules by which a monitor trusts one."""
