"""What a run is: its configuration, its folder, its protocol and its inputs."""
