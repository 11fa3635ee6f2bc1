"""GEN-VLKT (Liao, Zhang, Lu, Wang, Li, Liu, CVPR 2022)."""
