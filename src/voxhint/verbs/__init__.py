"""In which order? One file for each verb: folders in, folder out, and how it was made."""
