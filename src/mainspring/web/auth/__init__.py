"""Who asks: how that is found out."""

from mainspring.web.auth.check import AuthCheck, HostApplication, Way
from mainspring.web.auth.loopback import Loopback

__all__ = ["AuthCheck", "HostApplication", "Loopback", "Way"]
