"""What people leave behind while they talk: conversations now; votes, rankings and demonstrations later."""
