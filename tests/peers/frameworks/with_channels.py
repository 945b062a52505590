"""What all of these applications do, in Django, with a consumer of Channels for WebSockets."""

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    ROOT_URLCONF=__name__,
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()


async def kept(request):
    """Give what the application keeps; Django has no lifespan."""
    return HttpResponse("kept by the lifespan")


async def length(request):
    """Count the bytes of a body."""
    return HttpResponse(str(len(request.body)))


async def parts(request):
    """Send a body in parts."""

    async def make():
        for number in range(100):
            yield b"%d," % number * 1000

    return StreamingHttpResponse(make())


class Echo(AsyncWebsocketConsumer):
    """Sends each message to all of its group, by the channel layer."""

    async def connect(self):
        """Join a group, and accept."""
        await self.channel_layer.group_add("all", self.channel_name)
        await self.accept(subprotocol="tea" if "tea" in self.scope["subprotocols"] else None)

    async def receive(self, text_data=None, bytes_data=None):
        """Hand a message on."""
        await self.channel_layer.group_send("all", {"type": "chat.message", "text": text_data})

    async def chat_message(self, event):
        """Send what the group is told."""
        await self.send(text_data=event["text"])

    async def disconnect(self, code):
        """Leave the group."""
        await self.channel_layer.group_discard("all", self.channel_name)


urlpatterns = [path("kept", kept), path("length", length), path("parts", parts)]
app = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": URLRouter([path("echo", Echo.as_asgi())])})
