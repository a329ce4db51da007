"""A client that logs in, sends money and cancels, using only the generated package `wallet`."""

import json
import sys

from wallet import AuthenticatedClient, Client
from wallet.api.accounts import list_accounts
from wallet.api.login import login
from wallet.api.transfers import cancel_transfer, create_transfer
from wallet.models import CredentialsRequest, TransferRequest

url, username, password, origin, destination = sys.argv[1:]
credentials = CredentialsRequest(username=username, password=password)
tokens = login.sync(client=Client(url), body=credentials)
client = AuthenticatedClient(url, token=tokens.access)


def balances() -> list[int]:
    return [account.balance for account in list_accounts.sync(client=client)]


request = TransferRequest(origin=int(origin), destination=int(destination), balance=250_000)
sent = create_transfer.sync(client=client, body=request, idempotency_key="python")
afterwards = balances()
cancelled = cancel_transfer.sync_detailed(sent.id, client=client)
again = cancel_transfer.sync(sent.id, client=client)
outcome = {
    "transfer": sent.balance,
    "afterwards": afterwards,
    "cancelled": int(cancelled.status_code),
    "again": again.code,
    "finally": balances(),
}
print(json.dumps(outcome))
