"""The names of the tests (Table 13); needs no TensorFlow."""

CENTER_CROP, DENSE, MULTI_SCALE = "center_crop", "dense", "multi_scale"
PROTOCOLS = (CENTER_CROP, DENSE, MULTI_SCALE)
# Of the scale of the test: the paper does not say at which it tests boxes. Sec. 3.4 has 224, 256,
# 384, 480 and 640 for classes, of which these are the middle ones over 256.
FACTORS = (0.875, 1.0, 1.5)
