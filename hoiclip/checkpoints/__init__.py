"""Weight files of other programs, read without running what is in them; CLIP made of them."""
