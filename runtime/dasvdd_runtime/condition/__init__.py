"""Is what arrives fit to be judged, and is it still what the model was trained on?"""
