-- One database per service: no service sees another's tables.
CREATE DATABASE gateway;
CREATE DATABASE scheduler;
CREATE DATABASE storage;
CREATE DATABASE archive;
