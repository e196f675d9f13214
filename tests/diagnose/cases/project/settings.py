FILE = "file"
