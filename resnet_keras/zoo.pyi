from zoo import *
from zoo import NETWORKS as NETWORKS
from zoo import entry as entry
from zoo import networks as networks
from zoo import prediction as prediction
from zoo import recipes as recipes
from zoo import weights as weights
