"""The documents that a store's operations take and give, a file for each operation or two that belong together.

They are named, and the rules for all of them stand, in `mainspring.store.base`.
"""
