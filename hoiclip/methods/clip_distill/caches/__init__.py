"""Settings, detections, pairs and the caches of them, which all stages of the method share."""
