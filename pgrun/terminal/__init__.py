"""What every console command shares: what it prints, how it ends, options, torch loaded late."""
