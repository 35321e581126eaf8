"""One image from Python: hints in, a soft label and a figure out."""

import numpy as np

import voxhint as vh

# an image and where its voxels lie; vh.read_image("scan.nii.gz") gives both at once
voxels = np.random.default_rng(0).normal(0, 0.1, (40, 40, 20))
voxels[14:26, 14:26, 7:13] += 1
spacing = (1.0, 1.0, 2.0)  # mm; or an affine

hints = [
    vh.Points("lesion", [[20, 20, 20], [17, 22, 18]]),  # x, y, z in mm
    vh.Points("background", [[3, 3, 4], [36, 36, 34], [20, 35, 20], [20, 5, 20]]),
]
soft = vh.soft_label(voxels, hints, ["lesion"], spacing=spacing)

print(soft)  # probability and trust of each class
mask = soft.largest_class() == 1  # an array, as the image
print(f"{mask.sum() * 2 / 1000:.1f} mL")
figure = vh.show(voxels, mask, spacing=spacing)
figure.savefig("lesion.png")
