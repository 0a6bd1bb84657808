"""Files of recordings -> blocks of samples."""
