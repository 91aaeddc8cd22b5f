"""What ``keledger run`` puts in front of the command's PYTHONPATH, and what nested commands inherit.

It installs the finder, takes its folder off ``sys.path`` again, so that the program sees the path it would
have had, and then gives the ``sitecustomize`` its turn that this one hides.
"""

import sys

from _keledger_bootstrap import install  # type: ignore[import-not-found]

folder = __file__.rpartition("/")[0]
install(folder.rpartition("/")[0] + "/client.py", None)
sys.path[:] = [entry for entry in sys.path if entry != folder]

this_module = sys.modules.pop("sitecustomize")
try:
    import sitecustomize  # type: ignore[import-not-found]  # noqa: F401  another one by now, or none
except ImportError as error:
    if error.name != "sitecustomize":
        raise
finally:
    sys.modules.setdefault("sitecustomize", this_module)
