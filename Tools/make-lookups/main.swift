print("make-lookups")
