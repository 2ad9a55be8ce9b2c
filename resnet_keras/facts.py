"""What is known of public data sets and of the paper's networks, stated once; plain data.

Means and standard deviations are per channel, RGB, in units of 0 to 255.
"""

# Table 1: blocks in conv2_x, conv3_x, conv4_x and conv5_x, by depth.
IMAGENET_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
# Of VGG networks (arXiv 1409.1556, Table 1, D and E): convolutions of the five stages, by depth;
# and the side of the features that the first hidden layer sees.
VGG_BLOCKS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
VGG_SIDE = 7
BOTTLENECK_DEPTHS = (50, 101, 152)
# Of DenseNets (arXiv 1608.06993, Table 1): blocks of the four stages, by depth.
DENSENET_BLOCKS = {
    121: (6, 12, 24, 16),
    161: (6, 12, 36, 24),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
}
# Of networks by what they were made for: channels of the first stage, and of what number channels
# are multiples where a network of another width is asked for.
FIRST_STAGES = {"imagenet": (64, 8), "cifar10": (16, 1)}
# How many times smaller than the images the last features are; all but the first by dilation.
IMAGENET_OUTPUT_STRIDES, CIFAR_OUTPUT_STRIDES = (32, 16, 8), (4, 2, 1)
# What may stand behind convolutions, see `networks.normalization`: batch normalization in three
# ways of training, of the same network afterwards, and what takes each image by itself.
BATCH, SYNCHRONIZED, FROZEN = "batch", "synchronized", "frozen"
GROUP, LAYER = "group", "layer"
NORMALIZATIONS = (BATCH, SYNCHRONIZED, GROUP, LAYER, FROZEN)

IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
# Caffe's for ImageNet, as RGB; it has no divisor.
CAFFE_MEAN, CAFFE_STD = (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)
# Inception's: pixels to -1..1. Of keras.applications' v2 networks and some of timm's.
INCEPTION_MEAN, INCEPTION_STD = (127.5,) * 3, (127.5,) * 3
CIFAR10_MEAN, CIFAR10_STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
CIFAR100_MEAN, CIFAR100_STD = (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)
FASHION_MNIST_MEAN, FASHION_MNIST_STD = (72.94,) * 3, (90.02,) * 3  # measured
# Those of MNIST and SVHN as they are commonly given, 0.1307 and 0.3081 and so on of 255.
MNIST_MEAN, MNIST_STD = (33.33,) * 3, (78.57,) * 3
SVHN_MEAN, SVHN_STD = (111.61, 113.17, 120.56), (50.49, 51.26, 50.24)
# Measured over all images at the digits' own 8x8.
DIGITS_MEAN, DIGITS_STD = (78.0,) * 3, (96.0,) * 3
DIGITS_SERIES_MEAN, DIGITS_SERIES_STD = (4.88,), (6.02,)  # of their ink, 0 to 16

# In the order of the labels.
CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
# The fine ones, spelled as in its files.
CIFAR100_CLASSES = (
    *("apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle"),
    *("bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle"),
    *("caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch"),
    *("crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox"),
    *("girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion"),
    *("lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom"),
    *("oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree"),
    *("plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road"),
    *("rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake"),
    *("spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone"),
    *("television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale"),
    *("willow_tree", "wolf", "woman", "worm"),
)
FASHION_MNIST_CLASSES = (
    *("t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag"),
    "ankle boot",
)
DIGITS_CLASSES = tuple("0123456789")
# COCO numbers its 80 classes up to 90: each at its number less 1.
COCO_CLASSES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "N/A", "stop sign", "parking meter", "bench", "bird"),
    *("cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "N/A"),
    *("backpack", "umbrella", "N/A", "N/A", "handbag", "tie", "suitcase", "frisbee", "skis"),
    *("snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard"),
    *("surfboard", "tennis racket", "bottle", "N/A", "wine glass", "cup", "fork", "knife"),
    *("spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog"),
    *("pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "N/A", "dining table"),
    *("N/A", "N/A", "toilet", "N/A", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    *("microwave", "oven", "toaster", "sink", "refrigerator", "N/A", "book", "clock", "vase"),
    *("scissors", "teddy bear", "hair drier", "toothbrush"),
)

# Of PASCAL VOC: a detector's labels; of masks, 0 is the background and these begin at 1.
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)

# The label of pixels that count neither in training nor in scores, as Pascal VOC's masks have it.
IGNORED = 255

# Of resizing, wherever images are resized.
INTERPOLATIONS = ("bilinear", "bicubic")
