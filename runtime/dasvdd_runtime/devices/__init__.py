"""Setting a device up: what is known of each kind of device, and the files that an installer puts there."""
