"""The composition root: every part is made here, told of the others, started and stopped.

A `Server` is opened: the database is ours, and what is held in memory of it is loaded. Then it can
be administered, by a socket beside the database that only its owner can open. Then it serves:
what is owed is sent, and the network is listened to. Where no server runs, the command line opens
and administers one for a moment, so there is one way in which anything is changed.
"""

import asyncio
import gc
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import structlog
import uvloop
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from waypost.api import app as api
from waypost.api.aside import Aside
from waypost.api.event_types import EventTypeRoutes
from waypost.api.intake import Intake
from waypost.api.jwks import JwksRoutes
from waypost.api.replays import ReplayRoutes
from waypost.api.subscriptions import SubscriptionRoutes
from waypost.clock import IdSource, SystemClock, SystemEntropy
from waypost.config import Config
from waypost.egress.transport import Transport
from waypost.engine.dispatcher import Dispatcher, DispatcherConfig
from waypost.engine.ingest import Ingest, IngestConfig
from waypost.engine.replayer import Replayer
from waypost.engine.router import Router
from waypost.engine.sender import Sender
from waypost.model.ids import Id
from waypost.operations.access import Access, AccessConfig
from waypost.operations.deliveries import Deliveries
from waypost.operations.diverted import Diverted
from waypost.operations.event_types import Catalogue, EventTypes
from waypost.operations.events import Events
from waypost.operations.keys import Keys
from waypost.operations.projects import Projects
from waypost.operations.replays import Examples, Replays
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.subscriptions import Subscriptions
from waypost.policy.events import EventLimits
from waypost.policy.format import NATIVE_FORMATS
from waypost.policy.rate import Allowance
from waypost.policy.settings import SubscriptionRules
from waypost.storage import queue, subscriptions
from waypost.storage.preparation import Prepared, prepare
from waypost.storage.store import Store
from waypost.storage.vault import Vault
from waypost.web.errors import ErrorCounts, Surfaces
from waypost.web.fast import FastRoutes
from waypost.web.front import HttpFront
from waypost.web.limits import HttpLimits
from waypost.web.listener import LONGEST_SOCKET_PATH, Listener, bind, bind_local
