"""What the golden journal says of budgets: placeholder."""
from typing import Any
from keledger.journal import Home
def budgets(home: Home) -> dict[str, Any]:
    return {}
