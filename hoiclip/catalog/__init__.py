"""What was published of HICO-DET and V-COCO: classes and lists of classes."""
