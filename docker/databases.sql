-- Run once, when the volume of PostgreSQL is empty: a database for each of those who keep something in it.
CREATE DATABASE ledger;
CREATE DATABASE mlflow;
CREATE DATABASE prefect;
