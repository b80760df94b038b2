-- One database per service: no service sees another's tables.
-- services: written
CREATE DATABASE storage;
CREATE DATABASE scheduler;
CREATE DATABASE archive;
CREATE DATABASE gateway;
-- services: end
