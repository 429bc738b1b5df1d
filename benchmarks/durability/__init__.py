"""What a run loses when it is killed, interrupted or out of room: nothing. Faults at named places, and the measurement."""
