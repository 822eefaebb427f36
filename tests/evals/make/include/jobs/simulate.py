"""Keeps every simulated day in memory."""

days = []
for day in range(1, 401):
    days.append(bytearray(4 << 20))
    if not day % 5:
        print(f"simulated day {day} of 400, {len(days) * 4} MiB kept", flush=True)
