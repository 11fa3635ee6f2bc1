"""Files from elsewhere: addresses, downloads, archives, pretrained weights."""
