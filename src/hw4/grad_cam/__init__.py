"""Question 7: Grad-CAM heat maps, and three measurements of whether they tell the truth."""

from hw4.grad_cam.maps import COLORMAPS, grad_cam, is_blank, normalise, superimpose, upsample

__all__ = ["COLORMAPS", "grad_cam", "is_blank", "normalise", "superimpose", "upsample"]
