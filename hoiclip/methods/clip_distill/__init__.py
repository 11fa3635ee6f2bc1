"""Annotation-free distillation of CLIP, after Wan & Tuytelaars (WACV 2024); details ours."""
