from pipelines import *
from pipelines import augment as augment
from pipelines import cifar as cifar
from pipelines import digits as digits
from pipelines import stream as stream
