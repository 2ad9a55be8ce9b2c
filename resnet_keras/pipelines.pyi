from pipelines import *
from pipelines import augment as augment
from pipelines import check as check
from pipelines import cifar as cifar
from pipelines import decode as decode
from pipelines import digits as digits
from pipelines import encoded as encoded
from pipelines import folder as folder
from pipelines import modern as modern
from pipelines import preview as preview
from pipelines import records as records
from pipelines import service as service
from pipelines import source as source
from pipelines import stream as stream
from pipelines import view as view
