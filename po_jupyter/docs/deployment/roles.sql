-- Who may what in PostgreSQL. Give each a password (\password po), or let pg_hba.conf say how they are known.
CREATE ROLE po_owner LOGIN;   -- makes and changes the tables: for `po store migrate` at an upgrade, and nothing else
CREATE ROLE po LOGIN;         -- servers and workers: reads and writes rows
CREATE ROLE po_keda LOGIN;    -- counts the runs that wait, for KEDA
CREATE DATABASE po OWNER po_owner;
\connect po
REVOKE ALL ON SCHEMA public FROM PUBLIC;
