/* What is called of it; the adapter that lets it be called defines it. */
double round(double value);
