"""Worker processes of this machine: queue, zygotes, launching, the gateway they speak to, and how they
end."""
