"""The view inside Airflow: one page and one JSON API, served by the FAB web server or by the FastAPI server."""
