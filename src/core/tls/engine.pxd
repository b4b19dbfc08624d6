# For those that keep an engine. It has a name of its own because what is cimported is no attribute of the module.
from ..._accel.engine cimport Engine as CEngine
from ..._accel.engine cimport EngineContext as CEngineContext
