"""What an alarm leaves behind to be looked at: a clip of the stream around it, and a sidecar that describes it.

`clips` decides, sample by sample, what belongs to which alarm, and knows no file; `writer` has the thread that takes it
to the disk; `folder` keeps the directory within its bounds.
"""
