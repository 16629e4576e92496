-- The drill's database, from the template that nobody changes.
CREATE DATABASE {name} TEMPLATE template0
