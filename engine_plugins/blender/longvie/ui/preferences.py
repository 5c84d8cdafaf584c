"""What belongs to the user and not to a file: the server and its token. A .blend that is passed on has no secrets."""

from typing import Any

import bpy

from ..order import ServerAddress

__all__ = ["LONGVIE_AP_preferences", "address_of"]

_ADDON = __package__.rpartition(".")[0]


class LONGVIE_AP_preferences(bpy.types.AddonPreferences):
    """The server."""

    bl_idname = _ADDON

    url: bpy.props.StringProperty(
        name="Server", default="tcp://127.0.0.1:5555", description="As `longvie serve` prints it"
    )
    token: bpy.props.StringProperty(
        name="Token", subtype="PASSWORD", description="As the server was started with; empty for none"
    )
    server_key: bpy.props.StringProperty(
        name="Server key", description="The server's public key, where it encrypts; it prints it"
    )

    patience_s: bpy.props.FloatProperty(
        name="Patience",
        default=60.0,
        min=1.0,
        description="Seconds to wait for a server that has vanished in the middle of a shot",
    )

    def draw(self, context: Any) -> None:
        """Show them in Blender's own preferences as well."""
        for name in ("url", "token", "server_key", "patience_s"):
            self.layout.prop(self, name)


def address_of(context: Any) -> ServerAddress:
    """Return the server that the user set up."""
    preferences = context.preferences.addons[_ADDON].preferences
    return ServerAddress(
        preferences.url.strip(),
        preferences.token.strip(),
        preferences.server_key.strip(),
        reconnect_timeout_s=preferences.patience_s,
    )
