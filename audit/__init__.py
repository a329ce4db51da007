from audit.registry import register as register
