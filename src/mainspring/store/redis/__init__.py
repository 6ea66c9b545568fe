"""Jobs in Redis or Valkey."""

from mainspring.store.redis.store import RedisStore

__all__ = ["RedisStore"]
