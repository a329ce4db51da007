from accounts.views import AccountViewSet, TransferViewSet
from almaFintech.api.routers import Router

router = Router()
router.register("accounts", AccountViewSet, "account")
router.register("transfers", TransferViewSet, "transfer")
