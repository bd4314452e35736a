"""C-ECHO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_node.exchange import Exchange
from dicom_node.statuses import Status

if TYPE_CHECKING:
    from dicom_node.node import Node


def echo(node: Node, exchange: Exchange) -> None:
    exchange.answer(Status.SUCCESS)
