"""What the routes do, by subject. Which action belongs to which path is said in `server.routes`."""
