"""The declarations of a site for others: an AsyncAPI document, and TypeScript."""

# fmt: off
from pm_realtime.contract.asyncapi import Heading, document
from pm_realtime.contract.declarations_file import CLIENT_MODULE, declarations
from pm_realtime.contract.yaml import is_yaml_installed, to_yaml
# fmt: on
