"""Maps over rows (`for_each`): each row with a durable outcome of its own, reused by later runs by its content.

For other rooms: `run_map.run_map`, `parts.MapParts`, `wind_up.wind_up`.
"""
