"""The program that works one run off; the same under a zygote and, later, under a broker."""
